"""The program of the processes that run a candidate, sent to a bare interpreter as text.

It imports torch and NumPy alone and says nothing of who runs it. What it answers are tensors, as bytes: nothing that it says
about itself decides anything. The files follow one another in that text, without their imports of each other.
"""
