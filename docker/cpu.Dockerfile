# Tests, debug recipes and data preparation without a GPU:
#   docker build -f docker/cpu.Dockerfile -t cosmos-lidar:cpu --build-arg TORCH_INDEX=… .
FROM python:3.11-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 PYTHONUNBUFFERED=1
RUN useradd --create-home --uid 1000 cosmos \
    && mkdir /opt/cosmos_lidar \
    && mkdir -p /results \
    && chown cosmos: /opt/cosmos_lidar /results
USER 1000
ENV PATH=/home/cosmos/venv/bin:$PATH OUTPUT_ROOT=/results
WORKDIR /opt/cosmos_lidar

COPY --chown=cosmos constraints.txt setup.cfg setup.py pyproject.toml README.md LICENSE ./
COPY --chown=cosmos cosmos_lidar/__init__.py cosmos_lidar/
# The index that has the CPU build of torch (PyTorch's installation page); without, the large CUDA build comes.
ARG TORCH_INDEX=""
RUN python -m venv /home/cosmos/venv \
    && pip install -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch \
    && mkdir energon_tasks recipes launch \
    && touch energon_tasks/__init__.py recipes/__init__.py launch/__init__.py \
    && pip install -c constraints.txt '.[train,trackers,text,diffusers,viz,datasets]' \
    && pip uninstall --yes cosmos_lidar

COPY --chown=cosmos . .
RUN pip install -c constraints.txt --no-deps .
CMD ["cosmos-lidar", "--help"]
