"""What one file holds, as an Arrow table: a module for each form. `sources.read` chooses among them by ending and first bytes.

tables    delimited (headers, space_delimited)   typed: JSON, Parquet, Excel, SQLite … (merged_cells, hugging_face)
          frames: in memory (rows, picture_arrays)   arrays   series: .ts .arff .tsf libsvm
language  conll, segmented, inline_spans, standoff, word_rows, uie, fasttext, label_studio, bilingual, aligned
          dialogues, messengers, logged (what several say)
texts     documents, pages, subtitles, cues, text_encoding
around    archive, tar, compressed   nameless: what a file of no known ending is   foreign: what is not read, with the way to it
"""
