"""One case examined: the hand-written side run, an oracle chosen, and the two compared."""
