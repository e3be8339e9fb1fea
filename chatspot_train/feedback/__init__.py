"""Why people were unhappy: the feedback log, the causal graph, effects, topics and a page."""
