"""The study's claims, their rules, and their judgement."""

from collections.abc import Mapping, Sequence

import pandas as pd
from pruned import Difference, recovered

from workbench.study import Claim, Finding, Study, judge_interval

WON, SEEDS, TICKET_SEEDS = 0.8, 3, 5  # share of cells that must be won; seeds that the rules ask for
REDUCTION, POINTS, NATS = 8, {"digits": 0.03}, 0.05  # where the cost is judged, and what it may be
ALLOWED = 0.01  # of accuracy, on any other data
IMAGES, TEXT = ((0.8, 0.8), (0.9, 0.6)), ((0.5, 0.8), (0.7, 0.6))  # sparsity, and the share that must be recovered
NEAR = 0.005  # of accuracy: the smallest ticket and the dense network
CLAIMS = (
    Claim(
        "nonzeros",
        "to-prune-or-not",
        "With as many nonzero weights, a large network pruned gradually beats a small dense one, and about ten times "
        "fewer nonzeros cost little.",
        "large-sparse beats small-dense by more than 1 standard error (seeds and test examples) in at least 80 % of "
        "the cells, MLP and LeNet at 1/2, 1/4, 1/8, 1/16 of the nonzeros, with a text also a character transformer at "
        "1/4 and 1/8; and 1/8 of the nonzeros costs at most 1 point of accuracy (digits: 3 points) or 0.05 nats; at "
        "least 3 seeds",
        ("digits", "mnist", "fashion_mnist"),
    ),
    Claim(
        "few",
        "perp-retrain-few",
        "After magnitude pruning, retraining biases and norms alone recovers about as much as retraining everything, "
        "and does better than Wanda without retraining.",
        "character transformer, biases and LayerNorms (at most 2 % of its parameters): at least 80 % of full "
        "retraining's gain in test loss is recovered at sparsity 50 %, at least 60 % at 70 %, and the loss is below "
        "Wanda's at both; at least 3 seeds",
    ),
    Claim(
        "few-images",
        "perp-retrain-few",
        "The same in a convolutional network on images.",
        "small CNN, biases and BatchNorms (at most 2 % of its parameters): at least 80 % of full retraining's gain in "
        "test loss is recovered at sparsity 80 %, at least 60 % at 90 %, and the loss is below Wanda's at both; at "
        "least 3 seeds",
        ("digits", "mnist", "fashion_mnist"),
    ),
    Claim(
        "tickets",
        "lottery-ticket-hypothesis",
        "LeNet-300-100 holds winning tickets: pruned and rewound to its start it learns better, until too little is "
        "left; with another start or other places it does not.",
        "at the step of least validation loss: test accuracy with 21.1 % of the weights above that with 51.3 %, that "
        "above the dense network's, 3.6 % within 0.5 points of it, and at 21.1 % reinitialised and shuffled masks "
        "below the ticket; at least 5 seeds",
        ("mnist",),
    ),
)
