"""`pods demo`: the main job on a real source tree, with no model and no key.

Owns the show: a copy of a tree, a supervisor of its own, a coordinating parent, a view. Uses public
parts alone, as a user's program would. `pods.demo.main` is its door, for the command line.
"""
