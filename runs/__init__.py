"""What a run is, where it lives, who executes it. Pages and the command line call only `runs.service`.

TensorFlow is never imported here except in the worker, which is a process of its own.
"""
