# One image for the study server and for workers; the command decides which.
#   docker build -t spikefront .
# torch comes from the index that pip uses by default. Another one, for a CPU-only build, for instance:
#   docker build --build-arg PIP_EXTRA_INDEX_URL=URL -t spikefront .
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1 \
    NUMBA_CACHE_DIR=/var/cache/spikefront \
    SPIKEFRONT_VAR=/var/lib/spikefront \
    SPIKEFRONT_DATA=/var/lib/spikefront-data

WORKDIR /opt/spikefront
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY service ./service
COPY objectives ./objectives
COPY hwmodel ./hwmodel
COPY storage ./storage
ARG PIP_EXTRA_INDEX_URL=
RUN pip install -c constraints.txt .

# A user without rights, who owns nothing but the folders that are written at run time.
RUN useradd --uid 10001 --create-home spikefront \
    && install -d -o spikefront -g spikefront "$NUMBA_CACHE_DIR" "$SPIKEFRONT_VAR" "$SPIKEFRONT_DATA"
USER spikefront
WORKDIR /home/spikefront

EXPOSE 8600
CMD ["spikefront", "--help"]
