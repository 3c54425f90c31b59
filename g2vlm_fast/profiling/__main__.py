from g2vlm_fast.profiling.command import main

if __name__ == "__main__":
    raise SystemExit(main())
