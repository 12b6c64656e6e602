# docker build -t tare . && docker run -p 8501:8501 -v tare:/data tare
# With a login, also: -v ./secrets.toml:/app/.streamlit/secrets.toml:ro -e TARE_LOGIN=true (docs/hosting.md)

FROM python:3.11-slim AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# binutils is for `strip` below; this stage is thrown away.
RUN apt-get update \
    && apt-get install -y --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/venv
COPY requirements.txt /tmp/requirements.txt
RUN /opt/venv/bin/pip install -r /tmp/requirements.txt && /opt/venv/bin/pip check
# What a running Tare never opens, about 0.8 GB: TensorFlow's C++ headers, the symbol tables of its two big
# libraries, and the tests of the data libraries.
RUN cd /opt/venv/lib/python3*/site-packages \
    && rm -rf tensorflow/include pyarrow/include pyarrow/tests pandas/tests \
    && find scipy sklearn -type d -name tests -prune -exec rm -rf {} + \
    && strip --strip-unneeded tensorflow/libtensorflow_cc.so.2 tensorflow/libtensorflow_framework.so.2

FROM python:3.11-slim
LABEL org.opencontainers.image.title="Tare" \
      org.opencontainers.image.description="Make Keras models smaller and see what it costs."
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TARE_HOME=/data \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true \
    STREAMLIT_BROWSER_GATHER_USAGE_STATS=false
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin tare && install -d -o tare -g tare /data
COPY --from=builder /opt/venv /opt/venv
WORKDIR /app
COPY . .
RUN python -m compileall -q .
USER tare
# A new volume starts as a copy of this folder, so the first start finds its database made.
RUN python -m runs.prepare
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["streamlit", "run", "app.py", "--server.port=8501", "--server.address=0.0.0.0"]
