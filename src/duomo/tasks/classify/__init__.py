"""Binary, multi-class and multi-label classification; one or several targets."""
