"""umd, the Ultimate Media Downloader: a self-hosted media download service around yt-dlp."""

__version__ = "0.1.0"
