"""The peers, each a program of its own: the same samples in, the same predictions out.

They import nothing of Millrace, so that they can run in an environment of their own. Each is written as its own
documentation would have it, with the best settings that we found; a comment says why.
"""
