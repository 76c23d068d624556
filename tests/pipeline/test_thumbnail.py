import asyncio
import io
import logging
import os
import signal
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.pipeline.corpus import BLUE, RED, TURNED, Sample, bomb, corpus, encoded, exif, picture, turned_jpeg
from tests.pipeline.processes import child_pids, open_files
from tusd_py.core.records import FileRecord, Status, Thumbnail
from tusd_py.pipeline import TryLater, thumbnail
from tusd_py.pipeline.thumbnail import Thumbnails
from tusd_py.service.threads import Threads

MIB = 1024 * 1024
FILE_ID = "f_0123456789abcdef0123456789abcdef"
SIZES = (512, 128)
WIDE = encoded(picture(300, 200), "PNG")


class Bench:
    """The step, files to give to it, and the thumbnails that come out."""

    def __init__(self, threads: Threads, runner: asyncio.Runner, folder: Path, log: pytest.LogCaptureFixture) -> None:
        self.threads = threads
        self.run = runner.run
        self.folder = folder
        self.log = log
        self.directory = folder / "thumbnails"

    def step(self, *sizes: int, **options: Any) -> Thumbnails:
        return Thumbnails(sizes or SIZES, self.directory, self.threads, **options)

    def record(self, content: bytes, claim: str = "image/png") -> FileRecord:
        path = self.folder / "file"
        path.write_bytes(content)
        return FileRecord(FILE_ID, "abc", str(path), "name", len(content), claim, "anonymous", 0.0, 0.0)

    def thumbnails(self, content: bytes, step: Thumbnails | None = None) -> tuple[Thumbnail, ...]:
        record = self.record(content)
        found = self.run((step or self.step()).run(record))
        assert found == replace(record, thumbnails=found.thumbnails)
        assert sorted(self.files()) == sorted(f"{each.size}.webp" for each in found.thumbnails)
        assert not child_pids()
        return found.thumbnails

    def files(self) -> list[str]:
        return os.listdir(self.directory / FILE_ID) if (self.directory / FILE_ID).exists() else []

    def image(self, size: int) -> Image.Image:
        return Image.open(self.directory / FILE_ID / f"{size}.webp")

    def reason(self) -> str:
        """Why there are no thumbnails."""
        (message,) = self.log.messages
        assert message.startswith(f"event=ThumbnailsFailed file={FILE_ID} error=")
        return message.partition(" error=")[2].strip('"')

    def replace_job(self, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
        """From now on the child does this with an image."""
        job = self.folder / "job.py"
        job.write_text(f"import os, time\ndef job(descriptor, sizes, max_pixels):\n    {line}\n")
        monkeypatch.setattr(thumbnail, "_JOB", job)


@pytest.fixture
def bench(
    threads: Threads, runner: asyncio.Runner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Bench]:
    caplog.set_level(logging.INFO, "tusd_py")
    yield Bench(threads, runner, tmp_path, caplog)
    assert not child_pids()


def colours(image: Image.Image) -> tuple[str, str]:
    """What the left and the right half of a picture look like."""
    left, right = (image.convert("RGB").getpixel((image.width * part // 8, image.height // 2)) for part in (1, 7))
    return nearest(left), nearest(right)


def nearest(pixel: Any) -> str:
    """Red or blue; colours are only about the same after CMYK, JPEG and WebP."""
    return min(("red", RED), ("blue", BLUE), key=lambda each: abs(each[1][0] - pixel[0]) + abs(each[1][2] - pixel[2]))[
        0
    ]


# --- what becomes of images ---


@pytest.mark.parametrize(
    "sample", [sample for sample in corpus() if sample.detected.startswith("image/")], ids=lambda sample: sample.kind
)
def test_images_get_thumbnails_and_everything_else_goes_on_without(bench: Bench, sample: Sample) -> None:
    made = bench.thumbnails(sample.content)
    if sample.picture is None and sample.honest:
        assert made == ()
        return
    if sample.picture is None:
        return  # it never comes here
    width, height = sample.picture
    assert [each.size for each in made] == ["128", "512"]
    for each in made:
        size = int(each.size)
        scale = min(1, size / max(width, height))
        assert each.type == "image/webp"
        assert abs(each.width - max(1, width * scale)) <= 1
        assert abs(each.height - max(1, height * scale)) <= 1
        assert max(each.width, each.height) == min(size, max(width, height))
        with bench.image(size) as image:
            assert (image.format, image.size) == ("WEBP", (each.width, each.height))
            assert not image.getexif()
            assert set(image.info) <= {"loop", "background", "timestamp", "duration"}
            assert getattr(image, "n_frames", 1) == 1
            if "grey" not in sample.kind and "16 bits" not in sample.kind and image.width > 8:
                assert colours(image) == ("red", "blue")


@pytest.mark.parametrize("sample", [each for each in corpus() if not each.detected.startswith("image/")][::4])
def test_what_is_no_image_costs_no_process(bench: Bench, monkeypatch: pytest.MonkeyPatch, sample: Sample) -> None:
    bench.replace_job(monkeypatch, "os.abort()")
    assert bench.thumbnails(sample.content) == ()
    assert not bench.log.messages
    assert not bench.directory.exists()


@pytest.mark.parametrize("orientation", [1, *TURNED])
def test_pictures_are_put_upright(bench: Bench, orientation: int) -> None:
    upright = encoded(picture(400, 200), "JPEG", exif=exif(1))
    (made,) = bench.thumbnails(turned_jpeg(400, 200, orientation) if orientation > 1 else upright, bench.step(100))
    assert (made.width, made.height) == (100, 50)
    assert colours(bench.image(100)) == ("red", "blue")


@pytest.mark.parametrize("data", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*" + b"\xff" * 500])
def test_exif_that_makes_no_sense_is_no_reason_to_have_no_thumbnails(bench: Bench, data: bytes) -> None:
    assert bench.thumbnails(encoded(picture(300, 200), "JPEG", exif=data)) != ()


def test_nothing_of_the_metadata_is_in_a_thumbnail(bench: Bench) -> None:
    profile, xmp = b"a profile with a secret" * 20, b"<x:xmpmeta>Secret</x:xmpmeta>"
    for form in ("JPEG", "WEBP", "PNG"):
        extra = {} if form == "PNG" else {"xmp": xmp}
        content = encoded(picture(300, 200), form, exif=exif(), icc_profile=profile, **extra)
        assert b"Secret Camera" in content
        assert bench.thumbnails(content) != ()
        for size in SIZES:
            data = (bench.directory / FILE_ID / f"{size}.webp").read_bytes()
            assert b"ecret" not in data
            assert not any(name in data for name in (b"EXIF", b"XMP ", b"ICCP"))


def test_transparency_is_kept(bench: Bench) -> None:
    image = picture(300, 200, "RGBA")
    image.putalpha(Image.new("L", image.size, 100))
    assert bench.thumbnails(encoded(image, "PNG")) != ()
    pixel = bench.image(128).convert("RGBA").getpixel((64, 40))
    assert isinstance(pixel, tuple)
    assert abs(pixel[3] - 100) < 3


def test_sixteen_bits_become_eight(bench: Bench) -> None:
    assert bench.thumbnails(encoded(Image.new("I;16", (300, 200), 0x8000), "PNG")) != ()
    pixel = bench.image(128).getpixel((64, 40))
    assert isinstance(pixel, tuple)
    assert all(abs(value - 128) < 3 for value in pixel)


def test_the_first_frame_is_shown(bench: Bench) -> None:
    frames = [Image.new("RGB", (200, 100), BLUE)] * 3
    for form in ("GIF", "WEBP"):
        content = encoded(picture(200, 100), form, save_all=True, append_images=frames)
        assert bench.thumbnails(content) != ()
        assert colours(bench.image(128)) == ("red", "blue")


def test_a_small_picture_is_not_made_larger(bench: Bench) -> None:
    made = bench.thumbnails(encoded(picture(10, 6), "PNG"))
    assert [(each.size, each.width, each.height) for each in made] == [("128", 10, 6), ("512", 10, 6)]


def test_a_photograph_is_not_decoded_in_full(bench: Bench) -> None:
    photograph = encoded(Image.new("RGB", (9000, 7000)), "JPEG")
    assert bench.thumbnails(photograph, bench.step(128, memory=96 * MIB)) != ()


@pytest.mark.parametrize("sizes", [(), (0,), (128, -1), (5000,)])
def test_sizes_that_make_no_sense_are_refused(bench: Bench, sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="between 1 and 4096"):
        Thumbnails(sizes, bench.directory, bench.threads)


# --- hostile images ---


def test_a_decompression_bomb_is_not_decoded(bench: Bench) -> None:
    assert bench.thumbnails(bomb(), bench.step(memory=96 * MIB)) == ()
    assert bench.reason().startswith("DecompressionBombError")


def test_one_pixel_too_many_is_too_many(bench: Bench) -> None:
    content = encoded(picture(100, 100), "PNG")
    assert bench.thumbnails(content, bench.step(max_pixels=9_999)) == ()
    assert bench.reason().startswith("DecompressionBombWarning")
    assert bench.thumbnails(content, bench.step(max_pixels=10_000)) != ()


def test_an_image_that_needs_too_much_memory_gets_none(bench: Bench) -> None:
    content = encoded(Image.new("L", (6000, 6000)), "PNG")
    assert bench.thumbnails(content, bench.step(memory=64 * MIB)) == ()
    assert bench.reason() == "it needs too much memory"


def test_formats_that_are_not_on_the_list_are_not_read(bench: Bench) -> None:
    tiff, bitmap = encoded(picture(100, 100), "TIFF"), encoded(picture(100, 100), "BMP")
    for content in (tiff, bitmap, b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        assert bench.thumbnails(content) == ()
    # Past the look at the first bytes, Pillow knows no other formats either.
    assert bench.thumbnails(b"\xff\xd8\xff" + tiff) == ()
    assert bench.reason().startswith("UnidentifiedImageError")


@pytest.mark.parametrize(
    ("line", "options", "reason"),
    [
        ("os.abort()", {}, "the process ended with SIGABRT"),
        ("os.kill(os.getpid(), 9)", {}, "the process ended with SIGKILL"),
        ("while True: pass", {"cpu_seconds": 0}, "it took more than 0 s of processor time"),
        ("time.sleep(600)", {"seconds": 0.5}, "it was not done after 0.5 s"),
        ("return {}, bytes(10 ** 7)", {}, "the answer is too long"),
        ("return {}, b''", {}, "the answer makes no sense"),
        ("return {'thumbnails': [{}]}, b''", {}, "the answer makes no sense"),
        ("return {'thumbnails': []}, b''", {}, "the answer makes no sense"),
        (
            "return {'thumbnails': [{'size': 128, 'width': 1e999, 'height': 1, 'length': 1}]}, b'<'",
            {},
            "the answer makes no sense",
        ),
        (
            "return {'thumbnails': [{'size': 128, 'width': 1, 'height': 1, 'length': 6}]}, b'<html>'",
            {},
            "the answer is no thumbnail",
        ),
    ],
    ids=["crash", "killed", "works", "hangs", "long", "empty", "fields", "none", "number", "page"],
)
def test_a_child_that_is_taken_over_fails_this_step_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, line: str, options: dict[str, Any], reason: str
) -> None:
    bench.replace_job(monkeypatch, line)
    assert bench.thumbnails(WIDE, bench.step(**options)) == ()
    assert bench.reason() == reason


# --- on disk ---


def test_thumbnails_are_for_their_owner_only(bench: Bench) -> None:
    step = bench.step()
    bench.thumbnails(WIDE, step)
    for path, mode in ((bench.directory, 0o700), (bench.directory / FILE_ID, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    path = step.path_of(FILE_ID, "128")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_step_can_be_repeated(bench: Bench) -> None:
    step = bench.step()
    first = bench.thumbnails(WIDE, step)
    (bench.directory / FILE_ID / "128.webp.new").write_bytes(b"what a crash left")
    assert bench.thumbnails(WIDE, step) == first
    assert [each.size for each in bench.thumbnails(WIDE, bench.step(64))] == ["64"]
    assert bench.thumbnails(b"no image any more") == ()


def test_thumbnails_can_be_removed(bench: Bench) -> None:
    step = bench.step()
    bench.thumbnails(WIDE, step)
    step.remove(FILE_ID)
    assert os.listdir(bench.directory) == []
    step.remove(FILE_ID)


def test_thumbnails_are_durable_before_the_record_names_them(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def fsync(descriptor: int) -> None:
        calls.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), bench.folder))

    monkeypatch.setattr(os, "fsync", fsync)
    bench.thumbnails(WIDE)
    folder = f"thumbnails/{FILE_ID}"
    assert calls == [f"{folder}/128.webp.new", f"{folder}/512.webp.new", folder, "thumbnails"]
    calls.clear()
    bench.thumbnails(WIDE, bench.step(durable=False))
    assert not calls


def test_where_thumbnails_cannot_be_written_the_file_waits(bench: Bench) -> None:
    bench.directory.write_bytes(b"in the way")
    with pytest.raises(TryLater, match="cannot be written") as raised:
        bench.run(bench.step().run(bench.record(WIDE)))
    assert raised.value.delay


def test_a_file_that_cannot_be_read_waits_and_one_that_was_taken_away_is_gone(bench: Bench) -> None:
    record = bench.record(WIDE)
    with pytest.raises(TryLater, match="cannot be read"):
        bench.run(bench.step().run(replace(record, path=str(bench.folder))))
    os.unlink(record.path)
    assert bench.run(bench.step().run(record)) == replace(record, status=Status.GONE)


# --- processes ---


def test_a_child_that_is_killed_leaves_a_file_without_thumbnails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def kill_it() -> FileRecord:
        task = asyncio.create_task(bench.step().run(bench.record(WIDE)))
        while not (pids := child_pids()):  # noqa: ASYNC110 -- of another process there is no event
            await asyncio.sleep(0.01)
        os.kill(pids[0], signal.SIGKILL)
        return await task

    bench.replace_job(monkeypatch, "time.sleep(600)")
    assert bench.run(kill_it()).thumbnails == ()
    assert bench.reason() == "the process ended with SIGKILL"


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.5])
def test_nothing_is_left_of_a_step_that_is_cancelled(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, delay: float
) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(bench.step().run(record))
        await asyncio.sleep(delay)
        task.cancel()
        await task

    bench.replace_job(monkeypatch, "time.sleep(600)")
    record = bench.record(WIDE)
    with pytest.raises(asyncio.CancelledError):
        bench.run(cancel())
    assert not child_pids()
    assert not bench.files()
    assert record.path not in open_files()


def test_several_at_once(bench: Bench) -> None:
    async def all_of_them() -> list[FileRecord]:
        return await asyncio.gather(*(step.run(replace(record, id=f"f_{number:032x}")) for number in range(4)))

    step, record = bench.step(), bench.record(WIDE)
    assert [len(found.thumbnails) for found in bench.run(all_of_them())] == [2] * 4
    assert len(os.listdir(bench.directory)) == 4


def test_a_thumbnail_can_be_opened_by_anybody(bench: Bench) -> None:
    bench.thumbnails(WIDE)
    data = bench.step().path_of(FILE_ID, "128").read_bytes()
    with Image.open(io.BytesIO(data), formats=("WEBP",)) as image:
        image.load()
        assert image.mode == "RGB"
