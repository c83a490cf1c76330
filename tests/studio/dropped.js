(text) => {
  const dropped = new DataTransfer();
  dropped.items.add(new File([text], "patients.csv", { type: "text/csv" }));
  return dropped;
}
