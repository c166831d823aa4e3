"""Marks of tests by the pattern of their name: slow, or nightly; each group with its reason.

A test that stands alone has the decorator ``slow`` instead. ``*`` stands for anything; a group that no test matches
fails in ``tests/test_levels.py``. Nightly goes before slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

SLOW: dict[str, tuple[str, ...]] = {
    "trainings, and commands that train": (
        "families/video_tokenizer/test_job.py::test_loss_falls_quality_rises_and_exports_load",
        "families/video_tokenizer/test_job.py::test_the_critic_enters_at_its_step_and_moves",
        "families/lidar_tokenizer/test_job.py::test_sequences_are_learned_from_and_exported",
        "families/lidar_tokenizer/test_job.py::test_exports_are_what_training_goes_on_from",
        "families/lidar_tokenizer/test_job.py::test_a_decoder_trained_alone_leaves_the_latents_as_they_are",
        "families/dit/test_blends.py::test_interrupted_is_uninterrupted",
        "families/video_tokenizer/test_job.py::test_weights_to_start_from_and_those_of_another_family",
        "families/lidar_tokenizer/test_job.py::test_old_checkpoints_are_deleted",
        "training/test_engine.py::test_the_rank_of_a_bad_gradient_is_named",
        "training/test_engine.py::test_bf16_trains_to_about_the_same_losses",
        "training/test_engine.py::test_a_value_that_is_not_finite_stops_all_ranks_and_says_where",
        "training/test_engine.py::test_a_resumed_run_does_not_meet_the_samples_of_a_spike_again",
        "training/test_accumulate.py::test_an_accumulating_run_resumes_exactly",
        "training/test_full_disk.py::test_a_disk_that_is_full_for_some_steps_costs_nothing_but_their_checkpoints",
        "training/test_resume.py::test_options_that_change_take_effect_from_the_next_step_on",
        "training/preflight/test_replay.py::test_a_step_is_run_again_as_it_was",
        "commands/test_embed_captions.py::test_the_guides_folder",
        "commands/test_encode_views.py::test_a_mirror_doubles_what_is_trained_on",
        "families/multiview/test_job.py::test_interrupted_is_uninterrupted",
        "metrics/test_metrics.py::test_validation_in_training_shows_one_more_file",
        "training/test_loggers.py::test_metrics_csv_has_every_step_once",
        "training/test_full_disk.py::test_a_run_whose_last_checkpoint_cannot_be_written_says_so",
        "training/test_resume.py::test_a_killed_run_stops_nobody_and_ends_as_if_it_was_not",
        "training/test_engine.py::test_a_jump_of_the_loss_goes_back_to_the_checkpoint",
        "training/preflight/test_replay.py::test_a_step_is_run_again_with_the_options_of_its_time",
        "commands/test_generate_lidar.py::test_along_rays_from_a_page_of_recordings_to_images_with_a_calibration",
    ),
    "two ranks on two cores": (
        "training/test_engine.py::test_two_processes_resume_exactly",
        "training/test_engine.py::test_a_rank_that_hangs_ends_all_with_their_stacks_in_one_file",
        "training/checkpoint/test_full_tensors.py::test_sharded_tensors_are_whole_on_the_first_rank_alone",
        "training/checkpoint/test_store.py::test_any_mesh_loads_what_another_saved*",
        "families/lidar_tokenizer/test_ddp.py::*",
        "latents/test_cache.py::test_many_writers_of_one_entry",
        "latents/test_shared_views.py::test_views_spread_over_ranks_are_those_of_one*",
        "parallel/test_apply.py::test_transformer_on_a_mesh_is_that_of_one_process[2]",
        "parallel/test_lora.py::test_gradients_and_weights_are_those_of_one_rank[2]",
        "parallel/test_materialize.py::test_shards_are_those_of_a_whole_network[2]",
    ),
    "loaders with workers that take seconds to end": (
        "energon_tasks/test_videos.py::test_exact_resume_in_the_middle[?]",
        "energon_tasks/test_videos.py::test_what_cannot_be_used_is_counted_and_named",
        "energon_tasks/test_views.py::test_batches_hold_what_was_recorded_at_one_time",
        "energon_tasks/test_loader.py::test_many_stops_of_every_loader*",
        "energon_tasks/test_loader.py::test_stops_soon_after_a_resume*",
        "energon_tasks/test_loader.py::test_other_ranks_resume_with_the_next_sample",
        "energon_tasks/test_splits.py::test_a_resumed_blend_goes_on_with_the_very_next_sample[latents-*",
        "energon_tasks/test_splits.py::test_weights_decide_how_often_a_folder_is_drawn",
        "energon_tasks/test_splits.py::test_a_state_of_other_data_is_said_and_left_alone",
        "energon_tasks/test_splits.py::test_more_readers_than_samples",
        "energon_tasks/test_splits.py::test_validation_reads_all_folders_once_and_a_limit_leaves_none_out[latents]",
        "energon_tasks/test_loader.py::test_other_readers_are_refused*",
        "energon_tasks/test_sweeps.py::test_resumed_endless_loader_of_two_workers",
        "energon_tasks/test_sweeps.py::test_two_ranks_share_the_frames",
        "energon_tasks/test_user_loaders.py::test_check_and_doctor_and_a_recipe",
        "energon_tasks/test_damaged.py::test_the_damaged_sample_is_counted_and_the_others_are_read[*-2]",
        "shards/test_multiview_folder.py::test_prepared_shards_give_the_same_batches",
        "shards/test_multiview_folder.py::test_weights_and_lists_keep_their_order",
    ),
    "networks of the published size": (
        "models/tokenizer/test_video_layers.py::test_published_numbers_of_*",
        "models/tokenizer/test_network.py::test_published_numbers[*_LowRes]",
        "models/tokenizer/test_network.py::test_published_numbers[*16x16]",
        "models/tokenizer/test_checkpoint.py::test_every_container_gives_the_network_back[*-DI16x16_LowRes]",
        "models/tokenizer/test_checkpoint.py::test_files_that_contradict_each_other_are_refused",
        "models/tokenizer/test_network.py::test_lidar_shapes_give_the_published_numbers*",
        "models/tokenizer/test_pretrained.py::test_files_and_folders_of_this_disk",
        "models/tokenizer/test_export.py::test_a_full_disk_is_an_error_and_does_not_end_the_process*",
        "models/tokenizer/test_export.py::test_exports_run_in_a_fresh_process_without_this_project*",
        "models/tokenizer/test_export.py::test_exported_files*",
        "kernels/test_kernels.py::test_compiler_holds_all_operations*",
    ),
    "interpreters of their own": (
        "test_startup.py::test_training_imports_what_it_needs",
        "install/test_contents.py::test_every_file_of_the_packages_is_in_the_wheel",
    ),
    "drives, archives and searches of some size": (
        "test_fuzz.py::*",
        "test_torch_files.py::test_an_archive_that_unpacks_to_much_more",
        "test_arrays.py::test_a_bomb_is_refused_before_it_is_unpacked",
        "sensors/fit/test_fit.py::test_published_models_are_recovered[*-ring]",
        "commands/test_synth.py::test_other_options_are_not_taken_for_the_same",
        "commands/test_synth.py::test_goes_on_where_it_stopped",
        "commands/test_synth.py::test_pinhole_cameras",
        "clips/writers/test_multiview.py::test_real_cameras_of_one_moment",
        "clips/checks/test_repeats.py::test_frozen_images_are_errors_while_the_camera_moves",
        "clips/test_cut.py::test_frames_take_the_images_and_other_lidars_of_their_time",
        "clips/test_convert.py::test_a_killed_conversion_is_taken_up",
        "energon_tasks/test_videos.py::test_real_driving_video",
        "synth/test_rays.py::test_culling_loses_nothing",
        "benchmarks/test_benchmark_programs.py::test_deskew_as_table",
        "clips/checks/test_alignment.py::test_real_calibrations_are_quiet_and_one_degree_of_yaw_is_found*",
        "clips/checks/test_motion.py::test_real_recordings_with_faults_and_without*",
        "clips/checks/test_repeats.py::test_duplicates_without_poses_are_errors_as_well",
        "clips/checks/test_repeats.py::test_a_frozen_lidar_is_found_while_the_poses_move",
        "commands/test_autoencode.py::test_real_sweeps*",
        "commands/test_convert.py::test_there_and_back_again",
        "families/lidar_tokenizer/test_data.py::test_synthetic_drives_are_a_function_of_the_seed",
        "families/video_tokenizer/test_codec.py::test_tiles_of_real_images_are_close_to_the_whole*",
        "shards/test_prepare.py::test_killed_and_run_again_gives_the_same_bytes[2]",
        "synth/test_drive.py::test_published_loaders_keep_the_ids_of_drives_whole",
        "synth/test_drive.py::test_same_seed_same_bits",
        "benchmarks/test_sparse_conv.py::test_table",
        "benchmarks/test_also_pretraining.py::test_table",
        "benchmarks/test_benchmark_programs.py::test_clips_of_some_formats",
    ),
}

NIGHTLY: dict[str, tuple[str, ...]] = {
    "programs that print tables, each with its imports; the product does not use them": (
        "benchmarks/test_benchmark_programs.py::test_wan_vae_small",
        "benchmarks/test_benchmark_programs.py::test_tokenizer_quick_with_options_beside_it",
        "benchmarks/test_benchmark_programs.py::test_engine_*",
        "benchmarks/test_benchmark_programs.py::test_startup_rows*",
        "benchmarks/test_benchmark_programs.py::test_stragglers_prints_a_ratio",
        "benchmarks/test_benchmark_programs.py::test_sensor_fit_without_recordings",
        "benchmarks/test_benchmark_programs.py::test_clips_measures_every_reader_and_writer",
        "commands/test_generate_lidar.py::test_the_benchmark_of_quality",
        "benchmarks/test_also_proof.py::*",
        "benchmarks/test_same_numbers.py::test_a_changed_default_is_found_and_all_else_is_equal",
        "benchmarks/test_same_numbers.py::test_unknown_revisions_and_parts_are_refused",
    ),
    "further sample types, whose loaders share the code: sweeps, latents and multiview are slow": (
        "energon_tasks/test_splits.py::*[videos*",
        "energon_tasks/test_splits.py::*[views*",
        "energon_tasks/test_splits.py::*[points*",
        "energon_tasks/test_cookers.py::*[videos*",
        "energon_tasks/test_cookers.py::*[views*",
        "energon_tasks/test_cookers.py::*[points*",
        "energon_tasks/test_trace.py::*[videos*",
        "energon_tasks/test_trace.py::*[views*",
        "energon_tasks/test_trace.py::*[points*",
        "energon_tasks/test_user_loaders.py::*[videos*",
        "energon_tasks/test_user_loaders.py::*[views*",
        "energon_tasks/test_user_loaders.py::*[points*",
    ),
    "stops and resumes at every place of every loader": (
        "energon_tasks/test_loader.py::test_pairs_of_stops_of_every_loader[videos*",
        "energon_tasks/test_loader.py::test_pairs_of_stops_of_every_loader[views*",
        "energon_tasks/test_loader.py::test_pairs_of_stops_of_every_loader[points*",
        "energon_tasks/test_loader.py::test_pairs_of_stops_of_every_loader[*-a-*",
        "energon_tasks/test_loader.py::test_pairs_of_stops_of_every_loader[*-1]",
        "energon_tasks/test_loader.py::test_pairs_of_stops_of_every_loader[*-4]",
        "energon_tasks/test_loader.py::test_stops_soon_after_a_resume[4]",
    ),
    "further families, numbers of workers, precisions and meshes of what is shown once": (
        "training/test_engine.py::test_a_resumed_run_is_the_uninterrupted_one[dit-1]",
        "training/test_engine.py::test_a_resumed_run_is_the_uninterrupted_one[lidar_tokenizer-0]",
        "training/test_engine.py::test_a_resumed_run_is_the_uninterrupted_one[lidar_tokenizer-2]",
        "training/test_engine.py::test_other_meshes_take_over",
        "training/test_engine.py::test_a_tokenizer_on_halves_of_the_width_trains_like_one_process",
        "training/checkpoint/test_trained_only.py::test_a_run_resumes_exactly[2]",
        "families/lidar_tokenizer/test_job.py::test_an_interrupted_run_ends_like_an_uninterrupted_one",
        "families/lidargen/test_job.py::test_interrupted_is_uninterrupted",
        "families/also/test_job.py::test_interrupted_is_uninterrupted",
        "training/preflight/test_prediction.py::test_predicted_memory_is_what_training_takes[tokenizer]",
        "training/preflight/test_prediction.py::test_predicted_memory_is_what_training_takes[transformer]",
        "training/preflight/test_prediction.py::test_predicted_memory_is_what_training_takes[sharded, in bf16]",
        "training/preflight/test_prediction.py::test_predicted_memory_is_what_training_takes[split and recomputed]",
        "training/preflight/test_doctor.py::test_the_published_transformer_on_eight_gpus",
        "training/test_lazy_torchmetrics.py::*",
        "models/tokenizer/test_streaming.py::test_other_types*",
        "sensors/fit/test_fit.py::test_published_models_are_recovered[*-shuffled]",
        "clips/test_h264.py::*",
        "training/checkpoint/test_store.py::test_any_mesh_loads_what_another_saved[shard-grid]",
        "families/video_tokenizer/test_job.py::test_interrupted_is_uninterrupted[discrete]",
        "families/video_tokenizer/test_job.py::test_an_adaptive_weight_balances_the_gradients",
        "families/video_tokenizer/test_job.py::test_discrete_validation_tells_of_the_codebook",
        "families/video_tokenizer/test_job.py::test_two_processes_are_one[parallel.data_shard=2]",
        "families/lidargen/test_job.py::test_two_processes_are_one[parallel.tensor=2]",
        "families/multiview/test_job.py::test_two_ranks_are_one[over time]",
        "commands/test_generate_lidar.py::test_two_processes_make_the_sweeps_of_one[1]",
        "launch/test_nemo_run.py::test_dry_run_prints_what_would_be_started[*l*e]",
        "launch/test_nemo_run_cli.py::test_the_command_line_trains",
        "launch/test_signal_to_all.py::*[1]",
        "launch/test_signal_to_all.py::*[2]",
        "parallel/test_*.py::*[4]",
    ),
    "further members of the published list": (
        "models/tokenizer/test_video_layers.py::test_published_numbers_of_*[*_LowRes]",
        "models/tokenizer/test_video_layers.py::test_published_numbers_of_*[?V4x8x8]",
        "models/tokenizer/test_video_layers.py::test_published_numbers_of_*[CV8x16x16]",
        "models/tokenizer/test_video_layers.py::test_published_numbers_of_*[DV8x8x8]",
        "models/tokenizer/test_network.py::test_lidar_shapes_give_the_published_numbers[B-*",
        "models/tokenizer/test_network.py::test_lidar_shapes_give_the_published_numbers[A-1024]",
        "models/sparse/test_build.py::test_published_gradients_of_a_batch_of_two[minkunet18sc]",
        "commands/test_tokenize.py::test_real_driving_video",
    ),
    "further real recordings": (
        "test_real_recordings.py::test_twenty_steps_of_the_lidar_tokenizer[av2-down_lidar]",
        "test_real_recordings.py::test_twenty_steps_of_the_lidar_tokenizer[ddad_dgp]",
        "test_real_recordings.py::test_twenty_steps_of_the_lidar_tokenizer[kitti_object]",
        "test_real_recordings.py::test_twenty_steps_of_the_lidar_tokenizer[ouster*",
        "test_real_recordings.py::test_twenty_steps_of_the_lidar_tokenizer[semantickitti]",
        "demo/test_run.py::test_real_recordings[kitti_velodyne-kitti]",
        "demo/test_run.py::test_synthetic_drives_and_a_second_call",
    ),
    "processes killed hundreds of times": ("training/test_random_kills.py::*",),
}
LEVELS = {"nightly": NIGHTLY, "slow": SLOW}


def matching(patterns: Iterable[str]) -> re.Pattern[str]:
    """Return an expression for node ids below ``tests/`` that match any pattern (``*``: anything, ``?``: one sign)."""
    wild = (re.escape(one).replace(r"\*", ".*").replace(r"\?", ".") for one in patterns)
    return re.compile("|".join(f"(?:tests/{one})" for one in wild))


def mark(items: Iterable[pytest.Item]) -> None:
    """Mark tests slow or nightly."""
    for level, groups in LEVELS.items():
        expression = matching(pattern for patterns in groups.values() for pattern in patterns)
        for item in items:
            if expression.fullmatch(item.nodeid):
                item.add_marker(level)
