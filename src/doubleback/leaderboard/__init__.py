"""`doubleback leaderboard`: audited models of one protocol, ranked on one page. Knows no torch."""

from doubleback.leaderboard.page import write_leaderboard

__all__ = ["write_leaderboard"]
