# The gateway as an unprivileged process over a read-only research folder, for amd64 and arm64.
# The digest is that of the index of all platforms. For a newer one, ask `docker buildx imagetools inspect python:3.13-slim-trixie`.
ARG PYTHON_IMAGE=python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

# What builds and describes the rest. Nothing of it is in the image.
FROM ${PYTHON_IMAGE} AS tools
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /tools
COPY deploy/requirements-build.lock /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    /tools/bin/pip install --no-compile --require-hashes --only-binary :all: -r /locks/requirements-build.lock

# Everything that the program needs, as deploy/lock.py has locked it. Made anew only when the lock changes.
FROM tools AS dependencies
COPY deploy/requirements.lock /locks/
RUN python -m venv --without-pip /opt/research
RUN --mount=type=cache,target=/root/.cache/pip \
    /tools/bin/pip --python /opt/research/bin/python install --require-hashes --only-binary :all: -r /locks/requirements.lock

FROM tools AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY shared shared
COPY servers servers
COPY gateway gateway
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . && cp pyproject.toml /wheel/

FROM ${PYTHON_IMAGE}
# Nothing is installed in a running container.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip*
# The directories are for what a container keeps: mount volumes there.
RUN groupadd --system --gid 10001 research \
    && useradd --system --uid 10001 --gid 10001 --no-create-home research \
    && install -d -o research -g research -m 0700 /audit /index /login
COPY --from=dependencies /opt/research /opt/research
# The program is a layer of its own, and the bill of materials tells of everything that is installed beside Python.
RUN --mount=type=bind,from=tools,source=/tools,target=/tools \
    --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    /tools/bin/pip --python /opt/research/bin/python install --no-cache-dir --no-index --no-deps /wheel/*.whl \
    && /tools/bin/pip --python /opt/research/bin/python check \
    && install -d /usr/share/sbom \
    && /tools/bin/cyclonedx-py environment --pyproject /wheel/pyproject.toml --mc-type application --output-reproducible \
        --validate --of JSON -o /usr/share/sbom/research-assistant-mcp.cdx.json /opt/research/bin/python
USER 10001:10001
ENV PATH=/opt/research/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RESEARCH_ROOTS=/research
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["research-assistant"]
CMD ["serve", "--transport", "http", "--host", "0.0.0.0", "--port", "8000"]
# Last, so that a new revision changes no layer.
ARG VERSION=1.0.0rc1
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Research Assistant MCP" \
      org.opencontainers.image.description="A research folder for any MCP client: list, search, read, summarize and synthesize behind one gateway." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/research-assistant-mcp/research-assistant-mcp" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
