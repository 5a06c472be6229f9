"""Write digits.csv: the 1,797 UCI test images of handwritten digits that ship with scikit-learn.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
https://doi.org/10.24432/C50P49, CC BY 4.0. 8x8 pixels, 0 (white) to 16, named p<row><column>; the last
column is the digit.
"""

import csv
from pathlib import Path

from sklearn.datasets import load_digits

HERE = Path(__file__).parent


def main() -> None:
    """Write the file beside this script."""
    digits = load_digits()
    names = [f"p{row}{column}" for row in range(8) for column in range(8)]
    with (HERE / "digits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "digit"])
        for image, digit in zip(digits.data.astype(int).tolist(), digits.target.tolist(), strict=True):
            writer.writerow([*image, digit])


if __name__ == "__main__":
    main()
