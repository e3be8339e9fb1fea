"""The window: a Qt widget on an OperatorClient, inside rqt or by itself."""
