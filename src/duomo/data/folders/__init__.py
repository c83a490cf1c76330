"""What lies in a folder, as a table; `folder.read_folder` chooses among the layouts.

listed        files and a table that says what they are (listed_folders: of whole folders; part_lists: in texts beside them)
classes       a folder for each class (one_hot: a column for each class)
transcripts   recordings and what is said in them   timed: pieces of recordings   scans: medical   serial: one taken after the other
joined        several tables (part_tables: train, valid, test)   records: a file for each row
lined         texts whose lines are rows (text_tables: whatever their names end in)
prose         texts to learn from together   catalogues: messages of programs, a file a language   dubbed: subtitles
beside        companions, illustrated, misnamed: what lies beside the data
"""
