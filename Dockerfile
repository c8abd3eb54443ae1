# The five services, and the millrace command, in one image. Which service a container runs is its command:
#   docker run millrace:0.1.0 python -m services.serving
# or, for an image that needs none, docker build --build-arg SERVICE=serving .
FROM python:3.11.15-slim-trixie AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/millrace
WORKDIR /src
COPY requirements.lock ./
RUN /opt/millrace/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY millrace millrace
COPY services services
RUN /opt/millrace/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11.15-slim-trixie
# /keys belongs to the user, so that a volume mounted there for the first time does too.
RUN useradd --system --uid 10001 --user-group --no-create-home millrace && install -d -o millrace -m 700 /keys
COPY --from=build /opt/millrace /opt/millrace
ENV PATH=/opt/millrace/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MILLRACE_HTTP_HOST=0.0.0.0 \
    MILLRACE_HTTP_PORT=8000 \
    MILLRACE_DATA=/tmp/millrace
USER millrace
WORKDIR /tmp
HEALTHCHECK --interval=10s --timeout=5s --retries=6 --start-period=60s --start-interval=2s \
    CMD ["python", "-c", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['MILLRACE_HTTP_PORT']), timeout=4); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ARG SERVICE=ingest
ENV SERVICE=${SERVICE}
CMD ["sh", "-c", "exec python -m \"services.$SERVICE\""]
