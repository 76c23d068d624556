FROM python:3.13-slim

# libmagic1 detects the type of finished files.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libmagic1 \
 && rm -rf /var/lib/apt/lists/*

COPY pyproject.toml README.md LICENSE /src/
COPY tusd_py /src/tusd_py
RUN pip install --no-cache-dir /src && rm -rf /src

RUN useradd --system --uid 1000 --home-dir /srv/tusd-data --create-home tusd
USER tusd
WORKDIR /srv/tusd-data
VOLUME /srv/tusd-data
EXPOSE 8080

# Flags can be given on the command line or as TUSD_PY_… variables; the port of the check follows the latter.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('TUSD_PY_PORT', '8080') + '/health', timeout=4)"]

ENTRYPOINT ["tusd-py"]
CMD ["-upload-dir", "/srv/tusd-data"]
