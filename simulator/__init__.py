"""A vendor to try things on: four formats, whole and streamed, faults on demand by model name or by script.

It imports nothing of this project, so that it cannot share the project's mistakes. See README.md beside
this file.
"""
