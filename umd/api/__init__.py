"""HTTP in and out: decode, ask, encode. No SQL, no yt-dlp, no process, no rule of the domain."""
