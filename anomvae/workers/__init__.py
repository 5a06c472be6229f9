"""Scoring in other processes: the tasks and answers, the worker process, and the pool that runs several of them."""
