"""Every defence on one page: what it costs in reconstruction, what it gains against attacks.

`contenders` lists the defences, `row` is the record of one at one budget, `measuring` makes the records, `page` draws
them. One more defence is a line in `contenders`.
"""

from doubleback.frontier.measuring import frontier

__all__ = ["frontier"]
