"""All that knows yt-dlp and ffmpeg: the worker processes, and the port through which they are used."""
