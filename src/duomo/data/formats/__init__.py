"""What one file holds, as an Arrow table: a module for each form. `sources.read` chooses among them by ending and first bytes.

tables    delimited (headers, spaced)   typed: JSON, Parquet, Excel, SQLite … (merged, hugging)   frames: in memory (rows, pictured)
          arrays   series: .ts .arff .tsf libsvm
language  conll, segmented, inlaid, standoff, gathered, uie, fasttext, turns, logged, label_studio, bilingual, aligned
texts     documents, pages, subtitles, cues, text_encoding
around    archive, tarred, packed   nameless: what a file of no known ending is   foreign: what is not read, with the way to it
"""
