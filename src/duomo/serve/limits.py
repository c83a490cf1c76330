"""Every bound of the server in one place. Each is tested at its edge, one below and one above."""

MEBI = 1024 * 1024
LARGEST_BODY = 64 * MEBI
"""Bytes of an upload, and of any request at all."""
LARGEST_ROWS = 16 * MEBI
"""Bytes of rows in JSON; the worker reads them, the front only passes them on."""
MOST_LISTS = 1_000_000
"""Lists and objects of a request: each takes a hundred bytes of memory, however short it is written."""
LARGEST_ASKED = 2 * MEBI
"""Bytes of a JSON request of the OpenAI routes, which the front itself must read to know the model."""
LARGEST_SOUND = 32 * MEBI
"""Bytes of a request with a sound to transcribe."""
LARGEST_HEAD = 16 * 1024
"""Bytes of the names and values of a request's headers."""
LONGEST_MUTE = 64 * 1024
"""Bytes that a connection may send without a head or a piece of a body being complete."""
LONGEST_ADDRESS = 4096
"""Bytes of path and query."""
MOST_ROWS = 1000
MOST_PARTS = 1000
"""Files and fields of an upload."""
LONGEST_TEXT = 1_000_000
"""Characters of a cell."""
MOST_VALUES = 1_000_000
"""Numbers of a series cell."""
DEEPEST = 64
"""Levels of lists and objects in a request."""
MOST_INPUTS = 2048
"""Texts of a request for embeddings."""
MOST_PROMPTS = 64
"""Texts of a request that are written on."""
MOST_MESSAGES = 1024
MOST_TOOLS, LARGEST_TOOLS = 128, 128 * 1024
"""Tools of a chat, and characters of them all."""
MOST_CHOICES = 8
"""`n`: answers to one prompt."""
MOST_STOPS = 16
LONGEST_STOP = 256
MOST_BIASES = 1024
MOST_LOGPROBS = 20
LARGEST_SCHEMA = 64 * 1024
"""Characters of a JSON schema."""

HEAD_SECONDS = 5.0
"""A connection that has not sent the head of a request by then is closed."""
KEEP_SECONDS = 75
"""A connection that is idle between requests stays open for so long: longer than nginx and other balancers (60 s) keep theirs, so that
none of them asks on one that is being closed."""
BODY_SECONDS = 60.0
"""A body that has not arrived by then is refused."""
REST_SECONDS = 2.0
"""What still comes of a body that was refused before it was whole is taken for so long."""
ANSWER_SECONDS = 60.0
"""An answer that has not come by then is given up; a worker that has been silent for longer is replaced."""
QUEUE = 64
"""Requests that one worker has at a time, beyond which others are refused."""
QUEUE_BYTES = 256 * MEBI
"""Bytes of the requests that wait for one run."""
HELD_BYTES = 512 * MEBI
"""Bytes of all bodies that are arriving or being answered, whoever sends them, and however slowly."""
STREAM_BYTES = 4 * MEBI
"""Bytes of a stream that its reader has not fetched, beyond which it is cut off."""
LINGER_SECONDS = 1.0
"""After SIGTERM the server still answers for so long, while /readyz says no: time for a balancer to look away."""
LAST_SECONDS = 0.5
"""Connections that are idle then are closed after so long."""
GRACE_SECONDS = 30.0
"""Then what was accepted has so long to end."""
