"""Chat: learn from conversations to answer as the assistant does."""
