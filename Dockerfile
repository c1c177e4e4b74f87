# mfrkit in a container, on the CPU; docs/index.md, "In a container", says how to build and run it.
#   docker build -t mfrkit --build-arg TORCH_INDEX=URL .     URL: an index of torch's CPU wheels
#   docker build -t mfrkit --build-arg DEVICE=cuda .         torch with CUDA, some gigabytes more
FROM python:3.11-slim-bookworm AS build

ARG DEVICE=cpu
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/mfrkit
# torch comes first and alone: most indexes have builds for CUDA only, several times as large.
RUN case "$DEVICE:$TORCH_INDEX" in \
      cpu:) echo "name an index of CPU wheels: --build-arg TORCH_INDEX=URL, or DEVICE=cuda" >&2; exit 1 ;; \
      cpu:*|cuda:*) /opt/mfrkit/bin/pip install "$TORCH" ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} ;; \
      *) echo "DEVICE=$DEVICE: expected cpu or cuda" >&2; exit 1 ;; \
    esac
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY mfrkit mfrkit
RUN /opt/mfrkit/bin/pip install .

FROM python:3.11-slim-bookworm
# OpenCV's wheel links to them though nothing is ever shown.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 mfrkit
COPY --from=build /opt/mfrkit /opt/mfrkit
# Any user may run it (`docker run --user`), also one who has no home.
ENV PATH=/opt/mfrkit/bin:$PATH MPLCONFIGDIR=/tmp/matplotlib
USER mfrkit
WORKDIR /data
ENTRYPOINT ["mfrkit"]
CMD ["--help"]
