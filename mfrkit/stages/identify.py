"""Search every probe among known people: who is found, and who is taken for somebody else."""

import json
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np

from mfrkit.console import Console
from mfrkit.io.embeddings import EmbeddingReader
from mfrkit.io.files import refuse_existing, write_whole
from mfrkit.metrics.identification import Searches, failed_searches, join, read_scores
from mfrkit.models.classifier import load_classifier
from mfrkit.stages.candidates import Write, candidate_lists, list_candidates
from mfrkit.stages.enrolled_classes import enrol_classes
from mfrkit.stages.enrolment import Enrolment, enrol
from mfrkit.stages.identify_options import IdentifyOptions
from mfrkit.stages.identify_results import Identification, show, summarise, to_json
from mfrkit.stages.threshold_file import ThresholdFile

_SCORES_AT_ONCE = 2**24  # 64 MB, however large the gallery


def identify(options: IdentifyOptions, console: Console) -> Identification:
    """Search all probes; print the figures or JSON, and write the candidate lists.

    Raises:
        InputError: unusable files or options, pictures of nobody, or an output that exists.
    """
    for path in options.outputs:
        refuse_existing(path, force=options.force)
    with ExitStack() as files:
        probes = files.enter_context(EmbeddingReader(options.probes))
        if options.classifier:
            known = enrol_classes(load_classifier(str(options.gallery)), probes)
        else:
            gallery = files.enter_context(EmbeddingReader(options.gallery))
            known = enrol(gallery, probes, options.pool)
        fixed = _thresholds(options, probes, console)
        with candidate_lists(options, console) as write:
            searches = join(list(_search(known, probes, options.top, write, console)))
    result = summarise(searches, known, options, fixed)
    _warn(result, options, console)
    _write_pictures(result, options)
    if options.json:
        console.data(json.dumps(to_json(result, options), ensure_ascii=False))
    elif options.lists_to_stdout:
        rank1 = f"rank 1: {result.cmc[0]:.2%} of {result.mated} mated searches"
        console.info(rank1 if result.mated else "rank 1: n/a, no search is mated")
    else:
        show(result, options, console)
    for path in options.outputs:
        console.info(f"wrote {path}")
    return result


def _thresholds(
    options: IdentifyOptions, probes: EmbeddingReader, console: Console
) -> dict[float, float]:
    """Read the thresholds set beforehand for the probes' model, by the FMR they were set at."""
    if options.thresholds is None:
        return {}
    settings = ThresholdFile(options.thresholds).settings_for(
        probes.attributes, options.probes, console
    )
    return {each.calibration.target: each.calibration.threshold for each in settings}


def _write_pictures(result: Identification, options: IdentifyOptions) -> None:
    if not options.plots and options.report is None:
        return
    from mfrkit.stages.identify_report import cmc_picture, identification_page  # loads matplotlib

    for plot in options.plots:
        write_whole(plot, cmc_picture(result, options, plot.suffix[1:].lower()))
    if options.report is not None:
        write_whole(options.report, identification_page(result, options).encode())


def _search(
    known: Enrolment, probes: EmbeddingReader, top: int, write: Write | None, console: Console
) -> Iterator[Searches]:
    """Yield what came of each block of probes, at last of those without a vector."""
    block = max(1, _SCORES_AT_ONCE // known.gallery.rows)
    if write == console.data and console.is_terminal_out:
        console = Console(-1)  # a bar would run through the lists
    with console.progress("identify", probes.count) as progress:
        for start in range(0, probes.count, block):
            faces = known.read(probes, start, start + block)
            scores = known.gallery.scores(faces)
            scores[~faces.vectors.any(axis=1)] = -np.inf  # no direction, no comparison
            found = read_scores(scores, known.column[faces.place], known.mated[faces.place])
            if write is not None:
                for line in list_candidates(known, faces.place, found, scores, top):
                    write(line)
            yield found
            progress.update(len(faces))
    rest = np.arange(probes.count, len(known.mated))
    failed = failed_searches(known.mated[rest])
    if write is not None:
        for line in list_candidates(known, rest, failed, np.empty((len(rest), 0), np.float32), top):
            write(line)
    yield failed


def _warn(result: Identification, options: IdentifyOptions, console: Console) -> None:
    if result.unusable_gallery:
        console.warn(
            f"{options.gallery}: {result.unusable_gallery} inputs have no usable embedding; "
            "a person without any other is never found"
        )
    if result.failed_probes:
        console.warn(
            f"{options.probes}: {result.failed_probes} inputs have no usable embedding; "
            "those of people in the gallery count as misses"
        )
    if result.own_photos:
        console.info(
            f"{result.own_photos} probes are in the gallery themselves; each is searched without "
            "its own photo"
        )
    if not result.mated:
        console.warn(
            "no probe shows a person of the gallery; there are only strangers. Who is who is read "
            "from the folders; mfrkit search names faces nobody has named"
        )
