"""A simulated kitchen in MuJoCo that knows the truth about every one of its pixels."""
