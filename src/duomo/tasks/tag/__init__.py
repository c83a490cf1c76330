"""A tag for each token: entities, parts of speech, words of a text without spaces."""
