"""The commands, a file for each family; importing one adds its commands to the application."""
