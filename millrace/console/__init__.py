"""The operations console: pages in a browser that show the loop, and do what an operator asks for.

It owns nothing. It reads every control topic from the beginning into a database of its own, which may be thrown away,
and looks at the services' health and metrics. What somebody asks for is written to the log as the command line does it,
and the registry's answer is shown in its own words. It forgets nothing that the log keeps, because it keeps nothing.
"""
