"""Training of chatspot-tiny from random weights."""
