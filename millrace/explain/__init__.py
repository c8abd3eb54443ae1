"""Why a model answered as it did: what each feature added, and which training rows are like it. Pure mathematics.

``millrace explain`` and the console put it beside what the log tells: who served, since when, and why.
"""
