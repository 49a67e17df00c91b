"""Callbacks for trainers: ``lightning``, ``transformers``, ``accelerate``, ``ignite`` and ``skorch``, one file each.

A trainer decides when a model is trained, saved and resumed; its callback attaches a recipe when all that it needs is
there, and its state goes along in the trainer's own checkpoint. Nothing here is imported before somebody asks for it.
"""
