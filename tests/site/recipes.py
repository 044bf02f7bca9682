"""The ffmpeg command lines that make the site's media: encodes first, then cheap stream copies of them.

Each is what follows `ffmpeg`, with paths relative to the cache's folder, where it runs.
"""

from collections.abc import Iterator, Mapping

CLIP_SEC = 10
GRAIN_SEC = 6
LIVE_SEGMENTS = 120
"""One second each: a live stream of the site ends by itself when they are used up."""
NUMBERED = 40
NUMBERED_BYTES = (275_000, 1_990_000)
HEAVY_BYTES = 52_000_000
AES_KEY = bytes(range(16))
RAW = ("heavy.mp4", "grain.mp4")
"""Encoded only to be cut into others."""

_LADDER = {
    "1080p": ("1920x1080", "1500k"),
    "720p": ("1280x720", "900k"),
    "360p": ("640x360", "450k"),
    "240p": ("426x240", "250k"),
}
_STREAMED = ("240p", "360p", "720p")
_AAC = "-c:a aac -b:a 48k -ac 2"
_H264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"
_FAST = "-movflags +faststart"

_RENDITIONS = ("audio", "aes", "live", *_STREAMED, *(f"video-{name}" for name in _STREAMED))
FOLDERS = ("n", "images", "dash", *(f"hls/{name}" for name in _RENDITIONS))


def _pattern(size: str, seconds: float, rate: int = 25, noise: int = 0) -> str:
    """The inputs: a moving test picture, noisy where the clip has to weigh something, and a tone."""
    grain = f",noise=alls={noise}:allf=t" if noise else ""
    return f"-f lavfi -i testsrc2=s={size}:r={rate}:d={seconds}{grain} -f lavfi -i sine=440:d={seconds}"


def encodes() -> Iterator[str]:
    """What has to be encoded, the slow ones first. A key frame each second lets segments cut well."""
    for name, (size, rate) in _LADDER.items():
        yield f"{_pattern(size, CLIP_SEC)} {_H264} -b:v {rate} -g 25 {_AAC} {_FAST} {name}.mp4"
    yield f"{_pattern('160x90', LIVE_SEGMENTS, 10)} {_H264} -crf 35 -g 10 {_AAC} {_hls('live', seconds=1)}"
    # Real bits and not padding: a postprocessor that rewrites the file keeps them.
    yield f"{_pattern('1280x720', 2, noise=80)} {_H264} -qp 46 -g 25 {_AAC} {_FAST} heavy.mp4"
    yield f"{_pattern('320x180', GRAIN_SEC, noise=60)} {_H264} -qp 34 -g 25 {_AAC} {_FAST} grain.mp4"
    vp9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 200k -g 25"
    yield f"{_pattern('426x240', CLIP_SEC)} {vp9} -an video-240p.webm"
    yield f"-f lavfi -i sine=660:d={CLIP_SEC} -c:a libopus -b:a 48k audio.webm"
    yield f"-f lavfi -i sine=550:d={CLIP_SEC} -c:a libmp3lame -b:a 64k audio.mp3"
    noise = f"-f lavfi -i anoisesrc=d={CLIP_SEC}:a=0.3"
    yield f"{noise} -ac 2 -c:a aac -b:a 256k {_FAST} rich.m4a"
    yield f"{noise} -ac 2 -c:a libmp3lame -b:a 256k rich.mp3"
    for name, size in (("small", "320x180"), ("large", "1280x720")):
        for ext in ("jpg", "png"):
            yield f"-f lavfi -i testsrc2=s={size} -frames:v 1 -update 1 images/{name}.{ext}"


def copies(sizes: Mapping[str, int]) -> Iterator[str]:
    """What is cut from the encodes; `sizes` are theirs in bytes, so that targets are met with any x264."""
    grain_per_sec = sizes["grain.mp4"] / GRAIN_SEC
    loops = round(HEAVY_BYTES / sizes["heavy.mp4"])
    yield f"-stream_loop {loops - 1} -i heavy.mp4 -c copy {_FAST} 50mb.mp4"
    yield f"-i grain.mp4 -t {1_048_576 / grain_per_sec:.3f} -c copy {_FAST} 1mb.mp4"
    yield "-i grain.mp4 " + " ".join(_numbered(index, grain_per_sec) for index in range(NUMBERED))
    yield f"-i 240p.mp4 -c copy -vn {_FAST} audio.m4a"
    yield f"-i 240p.mp4 -c copy -vn {_hls('audio')}"
    yield f"-i 360p.mp4 -c copy -hls_key_info_file hls/aes/key.info {_hls('aes')}"
    for name in ("360p", "720p", "1080p"):
        yield f"-i {name}.mp4 -c copy -an {_FAST} video-{name}.mp4"
    for name in _STREAMED:
        yield f"-i {name}.mp4 -c copy {_hls(name)}"
        yield f"-i {name}.mp4 -c copy -an {_hls(f'video-{name}')}"
    yield _dash()


def _numbered(index: int, bytes_per_sec: float) -> str:
    """One of the forty: its length differs, and so do its bytes."""
    low, high = NUMBERED_BYTES
    size = low + (high - low) * index / (NUMBERED - 1)
    return f"-t {size / bytes_per_sec:.3f} -c copy {_FAST} -metadata title='Number {index}' n/{index}.mp4"


def _hls(folder: str, seconds: int = 2) -> str:
    options = f"-f hls -hls_time {seconds} -hls_list_size 0 -hls_playlist_type vod"
    return f"{options} -hls_segment_filename hls/{folder}/seg%d.ts hls/{folder}/index.m3u8"


def _dash() -> str:
    """Separate video and audio, so that a real merge has to happen."""
    maps = "-map 0:v -map 1:v -map 0:a -c copy -adaptation_sets 'id=0,streams=0,1 id=1,streams=2'"
    names = (
        "-init_seg_name init-$RepresentationID$.mp4 -media_seg_name seg-$RepresentationID$-$Number%03d$.m4s"
    )
    shape = "-f dash -seg_duration 2 -use_template 1 -use_timeline 0"
    return f"-i 360p.mp4 -i 720p.mp4 {maps} {shape} {names} dash/manifest.mpd"
