"""Streams of tasks: what a network sees, task by task, when a study has `[stream]`.

One file a kind, each with one pure function: settings, data, seed and the number of a task to its images and labels.
`tasks.py` is what the laboratory calls; what can be set is `regrow.study.stream`.
"""
