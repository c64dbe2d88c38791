"""How accurate the twin's models are on recordings: strictly causal, by the code of the live path.

One file a task; `tasks.py` lists them. Each reads a folder laid out as `docs/evaluation.md` says, runs the models
forward (predict, then learn) and gives its predictions; measures are figured from those alone.
"""
