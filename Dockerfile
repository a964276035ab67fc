# The gateway as an unprivileged process over a read-only research folder.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY shared shared
COPY servers servers
COPY gateway gateway
RUN pip install --no-cache-dir --prefix=/install --constraint constraints.txt '.[metrics]'

FROM python:3.13-slim
COPY --from=build /install /usr/local
RUN useradd --system --uid 10001 --no-create-home research && install -d -o research -m 0700 /audit /login
USER 10001
ENV PYTHONUNBUFFERED=1 \
    RESEARCH_ROOTS=/research
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["research-assistant"]
CMD ["serve", "--transport", "http", "--host", "0.0.0.0", "--port", "8000"]
