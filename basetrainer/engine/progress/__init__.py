"""Progress bars, and where the time goes."""
