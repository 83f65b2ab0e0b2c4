# syntax=docker/dockerfile:1
# The platform's image: collector, worker, page and command line in one; `docker-compose.yml` says which runs where.
# To build on exactly one base, name it with its digest: --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

# ---------------------------------------------------------------------------------------------------------- build
FROM ${PYTHON_IMAGE} AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/loopline
WORKDIR /src

# What others wrote changes seldom and is large: a layer of its own. Every version is the one the tests ran on, and the
# lock is complete, so nothing is resolved here; every file is the one that was locked.
COPY requirements-runtime.lock ./
RUN /opt/loopline/bin/pip install --no-deps --only-binary :all: --require-hashes -r requirements-runtime.lock

COPY clients/python ./clients/python
RUN /opt/loopline/bin/pip install --no-deps ./clients/python
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY loopline_platform.py ./
COPY schemas ./schemas
COPY models ./models
COPY streams ./streams
COPY feedback ./feedback
RUN /opt/loopline/bin/pip install --no-deps . \
 && /opt/loopline/bin/pip check \
 && /opt/loopline/bin/python -m compileall -q /opt/loopline/lib

# ------------------------------------------------------------------------------------------------------------ run
FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="Loopline" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --system --gid 10001 loopline \
 && useradd --system --uid 10001 --gid loopline --no-create-home --home-dir /var/lib/loopline loopline \
 && install --directory --owner loopline --group loopline /var/lib/loopline
COPY --from=build /opt/loopline /opt/loopline
COPY deploy/image/is-ready /usr/local/bin/is-ready

ENV PATH=/opt/loopline/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    LOOPLINE_HOME=/var/lib/loopline \
    TMPDIR=/var/lib/loopline \
    LOOPLINE_PORT=8710

# By number, so that who runs it can see that it is not root.
USER 10001:10001
WORKDIR /var/lib/loopline
VOLUME ["/var/lib/loopline"]
EXPOSE 8710 8711
STOPSIGNAL SIGTERM
# The collector's; where another command runs, docker-compose.yml names another.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --start-interval=1s --retries=3 \
  CMD ["is-ready", "8710", "/healthz"]
ENTRYPOINT ["loopline"]
CMD ["collector"]
