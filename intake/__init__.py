"""Files in: an uploaded model or dataset becomes a clean, described thing that fits together.

Imports nothing of ours outside this room. TensorFlow is loaded only inside functions, never on import,
so the server may read these declarations without paying for it.
"""
