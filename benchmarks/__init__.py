"""Speed as ratios, measured side by side in one run: these machines are shared, so an absolute time means little."""
