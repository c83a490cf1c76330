"""Runs as a service. The front listens and passes on; each run answers in a worker process of its own.

front         server, app (the routes), openai (openai_fields), schema (the OpenAPI document), page/
let in        guard, access and keys (rights), limits, protocol (time and size of a connection), json_body, errors, metrics
between       pool (the workers), frames (what they are sent)
worker        worker: batching (rows of many requests in one pass: rows), generation (texts: tools)
"""
