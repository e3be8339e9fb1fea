"""The router's training: wordings by intent, the fit and its command."""
