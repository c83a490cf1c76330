"""What lies in a folder, as a table; `folder.read_folder` chooses among the layouts.

listed        files and a table that says what they are (owned: of whole folders; portioned: in texts beside them)
classes       a folder for each class (exclusive: a column for each class)
transcripts   recordings and what is said in them   timed: pieces of recordings   scans: medical   serial: one taken after the other
joined        several tables (parted: train, valid, test)   records: a file for each row   lined, lone: texts whose lines are rows
prose         texts to learn from together   companions, illustrated, misnamed: what lies beside the data
"""
