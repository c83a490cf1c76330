"""Parts that several models share, and the simple models that answer beside a network.

layers        attention (causal, cache, positions), recurrent, norm, dropout, feed, init, pooled
inputs        fields (what a model asks of them), numeric (cells), tokens, audio, pictures, pyramid
beside a net  council (trees and a line over cells), on picture_features, sound_features, letter_features
              counts and sides (n-grams beside a decoder, an encoder), hashed (TF-IDF beside an embedder), grown (fitted late)
"""
