"""What an entry of theta is worth, one score a file: larger = keep."""
